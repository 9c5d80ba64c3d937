import cluster from 'node:cluster';
import type { EventEmitter } from 'node:events';
import { notImplemented } from './errors.js';

/** Flags of a bind, as libuv counts them: UV_UDP_IPV6ONLY, UV_UDP_REUSEADDR, UV_UDP_REUSEPORT. */
export const FLAGS = { ipv6Only: 1, reuseAddr: 4, reusePort: 8 } as const;

/** What a worker asks the primary for. */
export interface SharedBind {
  readonly address: string | null;
  readonly port: number | null | undefined;
  readonly addressType: string;
  readonly fd: number | undefined;
  readonly flags: number | null;
}

/** The socket that the primary has bound, and all workers share: its descriptor, and what is to be closed beside it. */
export interface SharedHandle {
  readonly fd: number;
  close(...values: unknown[]): unknown;
  unref?(): void;
}

interface WorkerCluster {
  readonly isWorker: boolean;
  _getServer?(owner: EventEmitter, options: SharedBind, callback: (error: number, handle: SharedHandle) => void): void;
}

const cluster_ = cluster as unknown as WorkerCluster;

/** Whether binds that are not exclusive are the primary's: in a worker of node:cluster. */
export const isWorker = (): boolean => cluster_.isWorker;

/**
 * Has the primary of node:cluster bind a socket, or give the one that it has bound for another worker: as node:dgram does, by the
 * function that node:cluster has for it. Throws where a runtime has none.
 */
export function shareHandle(
  owner: EventEmitter,
  options: SharedBind,
  callback: (error: number, handle: SharedHandle) => void,
): void {
  if (typeof cluster_._getServer !== 'function') {
    throw notImplemented(
      'a bind that the workers of a cluster share, on this runtime,',
      'make the socket with reusePort: true, which gives each worker one of its own',
    );
  }
  cluster_._getServer(owner, options, callback);
}
