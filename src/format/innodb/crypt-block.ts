/** The crypt block of page 0 (MariaDB's fil0crypt.cc): how a tablespace is encrypted. */
import { isKeyId } from '../../ids.ts';

export const CRYPT_BLOCK_BYTES = 33;
const MAGIC = Buffer.from([0x73, 0x0e, 0x0c, 0x52, 0x45, 0x74]);
const [TYPE, IV_LENGTH, IV, MIN_VERSION, KEY_ID, ENCRYPTION] = [6, 7, 8, 24, 28, 32];
const IV_BYTES = 16;

/** `default`: the server's settings decide. `yes`, `no`: ENCRYPTED=YES, ENCRYPTED=NO. */
export type AskedEncryption = 'default' | 'yes' | 'no';
const ASKED: readonly AskedEncryption[] = ['default', 'yes', 'no'];

export interface CryptBlock {
  /** False: the block of a tablespace that is not encrypted. */
  readonly isEncrypted: boolean;
  readonly asked: AskedEncryption;
  readonly keyId: number;
  /** The lowest version when this was written; pages may have a lower one, and 0 says that some are unencrypted. */
  readonly minVersion: number;
  readonly iv: Buffer;
}

/** Returns undefined where there is no block, or one that no known server writes. */
export function parseCryptBlock(block: Buffer): CryptBlock | undefined {
  const type = block[TYPE];
  if (block.length < CRYPT_BLOCK_BYTES || !block.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  if (block[IV_LENGTH] !== IV_BYTES || (type !== 0 && type !== 1)) return undefined;
  const keyId = block.readUInt32BE(KEY_ID);
  if (!isKeyId(keyId)) return undefined;
  return {
    isEncrypted: type === 1,
    // The server takes any other value for that of its settings.
    asked: ASKED[block[ENCRYPTION] ?? 0] ?? 'default',
    keyId,
    minVersion: block.readUInt32BE(MIN_VERSION),
    iv: Buffer.from(block.subarray(IV, IV + IV_BYTES)),
  };
}
