/** Messages between the thread of an audit and those that read files for it. */
import type { Examined, PagesKind } from './examine.ts';

/** A file to read. Its descriptor stays open until the answer. */
export interface FileJob {
  readonly kind: PagesKind;
  readonly file: SharedFile;
  /** The .MAD file of an Aria table. */
  readonly data: SharedFile | undefined;
  readonly checksums: boolean;
}

export interface SharedFile {
  readonly descriptor: number;
  readonly bytes: number;
}

export type FromThread =
  /** Bytes that were read since the last message. */
  | { readonly kind: 'read'; readonly bytes: number }
  | { readonly kind: 'done'; readonly examined: Examined | undefined }
  /** An error of the system, or one without a code. */
  | { readonly kind: 'failed'; readonly code: string | undefined; readonly message: string };
