import type { OpenDataFile } from '../data/data-files.ts';
import type { FileAudit } from './file-audit.ts';

/** The answer about a file, without its name. */
export type Found = Omit<FileAudit, 'file' | 'path' | 'kind' | 'bytes'>;
export type Readable = Pick<OpenDataFile, 'read' | 'readInto' | 'bytes'>;

export const CLEAR_LOG: Found = { state: 'clear', keyId: undefined, asked: undefined, versions: [], pages: undefined };
export const EMPTY_LOG: Found = { ...CLEAR_LOG, state: 'empty' };

/** @param versions those that are known */
export function encryptedLog(keyId: number, versions: Iterable<number>): Found {
  const uses = [...versions].sort((a, b) => a - b).map((version) => ({ version, used: 0, free: 0 }));
  return { ...CLEAR_LOG, state: 'encrypted', keyId, versions: uses };
}

export function isZero(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}
