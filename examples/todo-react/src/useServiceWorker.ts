import { useEffect, useState } from 'react';

/**
 * Registers the service worker, and says when a newer version of the application waits: a function that loads it, or null.
 *
 * It does not take over by itself: whoever is typing keeps what they type.
 */
export function useServiceWorker(): (() => void) | null {
  const [waiting, setWaiting] = useState<ServiceWorker | null>(null);

  useEffect(() => {
    // Pages by plain HTTP from another machine have none; while developing, it would show old files.
    if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return;
    let left = false;
    const watch = (registration: ServiceWorkerRegistration): void => {
      const look = (): void => {
        // Without a controller this is the first version, and nothing is newer.
        if (!left && registration.waiting && navigator.serviceWorker.controller) setWaiting(registration.waiting);
      };
      look();
      registration.addEventListener('updatefound', () => registration.installing?.addEventListener('statechange', look));
    };
    navigator.serviceWorker.register('/sw.js', { updateViaCache: 'none' }).then(watch, (error: unknown) => {
      console.warn('the page will not open without its server:', error);
    });
    return () => {
      left = true;
    };
  }, []);

  if (waiting === null) return null;
  return () => {
    navigator.serviceWorker.addEventListener('controllerchange', () => window.location.reload(), { once: true });
    waiting.postMessage('activate');
  };
}
