// What wasm-bindgen makes; its classes are described in `face.ts`.

/** Loads and starts the module: from the file beside it, or from these bytes. */
export default function init(options?: { module_or_path: Uint8Array | Response | string }): Promise<unknown>;
