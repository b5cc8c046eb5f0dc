import { defineConfig } from 'vite';

export default defineConfig({ base: '/bench/', build: { target: 'es2022' } });
