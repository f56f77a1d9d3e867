import { fstatSync } from 'node:fs';

/** Tells whether the process that started this one left a socket under the descriptor. */
export function isSocket(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isSocket();
  } catch {
    return false;
  }
}
