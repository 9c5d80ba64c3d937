import nodeDgram, * as names from 'node:dgram';
import module from 'node:module';
import { createSocket, Socket } from './socket.js';

type Resolve = (specifier: string, context: Context, next: (specifier: string, context: Context) => object) => object;
interface Context {
  readonly conditions?: readonly string[];
  readonly parentURL?: string | undefined;
}

/** By the first, names that ES modules import follow on Node.js; Deno has the second for it, and Bun neither. */
const { syncBuiltinESMExports, registerHooks } = module as unknown as {
  syncBuiltinESMExports?(): void;
  registerHooks?(hooks: { resolve: Resolve }): unknown;
};

let isHooked = false;

/**
 * Replaces node:dgram for the whole program: whoever requires or imports it finds `createSocket` and `Socket` of this package.
 * Sockets that exist are left alone, and so is who has kept the former functions. May be called again.
 *
 * @example register(); // before whatever opens sockets; or: node --import wasi-udp/dgram/register app.js
 */
export function register(): void {
  Object.assign(nodeDgram, { createSocket, Socket });
  syncBuiltinESMExports?.();
  if ((names.createSocket as unknown) !== createSocket) hookImports();
}

/** Has imports find a module whose names are those of node:dgram's object. */
function hookImports(): void {
  if (isHooked || registerHooks === undefined) return;
  isHooked = true;
  const named = new URL('./named.js', import.meta.url).href;
  registerHooks({
    resolve(specifier, context, next) {
      const isDgram = specifier === 'node:dgram' || specifier === 'dgram';
      // What requires it is given the object itself.
      if (!isDgram || context.parentURL === named || context.conditions?.includes('require'))
        return next(specifier, context);
      return { url: named, format: 'module', shortCircuit: true };
    },
  });
}
