import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

import { precache } from './precache.ts';

export default defineConfig({
  plugins: [react(), precache()],
  resolve: {
    // The packages are linked from their folders, where they have a React of their own for their tests.
    dedupe: ['react', 'react-dom'],
  },
  // Bundled before it is served, the package would not find its WebAssembly beside it.
  optimizeDeps: { exclude: ['@pocket/core'] },
  server: {
    // `pocket serve` has its endpoint under the same path as the demo, so that the page finds it where it comes from.
    proxy: { '/sync': { target: 'ws://127.0.0.1:7700', ws: true } },
    fs: { allow: ['../..'] },
  },
  build: {
    target: 'es2022',
    // A page that may run code from its own files only takes no code and no icon from `data:`.
    assetsInlineLimit: 0,
    rolldownOptions: {
      input: { index: 'index.html', sw: 'src/service-worker/sw.ts' },
      // A service worker is found again under the same name.
      output: { entryFileNames: (chunk) => (chunk.name === 'sw' ? 'sw.js' : 'assets/[name]-[hash].js') },
    },
  },
});
