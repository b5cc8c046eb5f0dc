/// <reference types="vite/client" />

interface ImportMetaEnv {
  /** The sync server, when it is not where the page comes from. */
  readonly VITE_SYNC_URL?: string;
}
