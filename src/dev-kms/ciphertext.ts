import { createCipheriv, createDecipheriv } from 'node:crypto';
import { invalidCiphertext } from './kms-fault.ts';
import type { EncryptionContext } from './members.ts';
import { KEY_ID, type KeyMaterial } from './state.ts';

/*
 * CiphertextBlob, our own format; AWS publishes none for its own:
 *
 *   header   version      1 byte, 1
 *            id length    1 byte
 *            key id       ASCII, without account and Region, so that every replica of a multi-Region key opens the blob
 *            material id  32 bytes
 *   iv                    12 bytes, random
 *   ciphertext            as long as the plaintext
 *   tag                   16 bytes
 *
 * AES-256-GCM; authenticated with it: the header, then the encryption context as below.
 */
const VERSION = 1;
const MATERIAL_ID_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;

export type RandomBytes = (size: number) => Uint8Array;

export interface OpenedHeader {
  readonly keyId: string;
  readonly materialId: string;
}

export function seal(
  keyId: string,
  material: KeyMaterial,
  context: EncryptionContext,
  plaintext: Uint8Array,
  randomBytes: RandomBytes,
): Uint8Array {
  const id = Buffer.from(keyId, 'ascii');
  const header = Buffer.concat([Buffer.from([VERSION, id.length]), id, Buffer.from(material.id, 'hex')]);
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', Buffer.from(material.key, 'base64'), iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.concat([header, encodeContext(context)]));
  return Buffer.concat([header, iv, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** @throws KmsFault InvalidCiphertextException */
export function readHeader(blob: Uint8Array): OpenedHeader {
  const bytes = Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength);
  const idLength = bytes[1];
  if (bytes[0] !== VERSION || idLength === undefined) throw invalidCiphertext();
  const headerBytes = 2 + idLength + MATERIAL_ID_BYTES;
  if (bytes.length < headerBytes + IV_BYTES + TAG_BYTES) throw invalidCiphertext();
  const keyId = bytes.toString('latin1', 2, 2 + idLength);
  if (!KEY_ID.test(keyId)) throw invalidCiphertext();
  return { keyId, materialId: bytes.toString('hex', 2 + idLength, headerBytes) };
}

/** @throws KmsFault InvalidCiphertextException */
export function open(blob: Uint8Array, material: KeyMaterial, context: EncryptionContext): Buffer {
  const { keyId, materialId } = readHeader(blob);
  if (materialId !== material.id) throw invalidCiphertext();
  const headerBytes = 2 + keyId.length + MATERIAL_ID_BYTES;
  const bodyStart = headerBytes + IV_BYTES;
  const bodyEnd = blob.length - TAG_BYTES;
  const decipher = createDecipheriv(
    'aes-256-gcm',
    Buffer.from(material.key, 'base64'),
    blob.subarray(headerBytes, bodyStart),
    { authTagLength: TAG_BYTES },
  );
  decipher.setAAD(Buffer.concat([blob.subarray(0, headerBytes), encodeContext(context)]));
  decipher.setAuthTag(blob.subarray(bodyEnd));
  const plaintext = decipher.update(blob.subarray(bodyStart, bodyEnd));
  try {
    decipher.final();
  } catch {
    plaintext.fill(0);
    throw invalidCiphertext();
  }
  return plaintext;
}

/**
 * The count of pairs, then name and value of each, every string with its length before it, sorted by the names' UTF-8
 * bytes: two different contexts never give the same bytes, and the order in a request makes no difference.
 */
export function encodeContext(context: EncryptionContext): Buffer {
  const pairs = Object.entries(context)
    .map(([name, value]) => [Buffer.from(name, 'utf8'), Buffer.from(value, 'utf8')] as const)
    .sort(([a], [b]) => Buffer.compare(a, b));
  return Buffer.concat([
    length(pairs.length),
    ...pairs.flatMap(([name, value]) => [length(name.length), name, length(value.length), value]),
  ]);
}

function length(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
