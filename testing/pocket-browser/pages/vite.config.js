import { defineConfig } from 'vite';

// No plugin: that none is needed is part of what is tested.
export default defineConfig({
  base: '/react/',
  // The packages are linked from their folders, where they have a React of their own for their tests.
  resolve: { dedupe: ['react', 'react-dom'] },
  build: { minify: false, target: 'es2022' },
});
