import { useEffect, useState } from 'react';

/** The event by which some browsers offer to install a page; TypeScript does not know it. */
interface InstallPrompt extends Event {
  prompt(): Promise<unknown>;
}

let offered: InstallPrompt | null = null;
const OFFERED = 'todo:install-offered';

// It comes once, before anybody looks.
window.addEventListener('beforeinstallprompt', (event) => {
  event.preventDefault();
  offered = event as InstallPrompt;
  window.dispatchEvent(new Event(OFFERED));
});
window.addEventListener('appinstalled', () => {
  offered = null;
  window.dispatchEvent(new Event(OFFERED));
});

/** Asks whether to install the application, where the browser can; else null. */
export function useInstall(): (() => void) | null {
  const [prompt, setPrompt] = useState(offered);
  useEffect(() => {
    const look = (): void => setPrompt(offered);
    window.addEventListener(OFFERED, look);
    return () => window.removeEventListener(OFFERED, look);
  }, []);
  return prompt === null ? null : () => void prompt.prompt();
}
