/** Messages between the thread of a command and those that read pages. */
import type { DataKey } from '../../format/encryption-scheme.ts';
import type { OpenSpace } from './pages.ts';
import type { PagesResult } from './result.ts';

export type ToThread =
  | {
      readonly kind: 'range';
      /** Number of the tablespace among all that the threads read. */
      readonly file: number;
      readonly space: OpenSpace;
      readonly from: number;
      readonly to: number;
    }
  /** The answer to a question for keys. The thread wipes them. */
  | { readonly kind: 'keys'; readonly version: number; readonly keys: readonly DataKey[] };

export type FromThread =
  | { readonly kind: 'keys'; readonly version: number }
  | { readonly kind: 'done'; readonly result: PagesResult }
  /** An error of the system, of writing or of reading. */
  | {
      readonly kind: 'failed';
      readonly isOutput: boolean;
      readonly code: string | undefined;
      readonly message: string;
    };
