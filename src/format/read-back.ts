import { KeyError, toKeyError } from '../errors.ts';

/**
 * Returns a text or bytes after its own parser has accepted it, so that an unreadable file fails now and not at a later
 * start.
 * @param read the parser, which throws
 * @throws KeyError KMS_BAD_ANSWER: nothing must be written
 */
export function readBack<T>(written: T, read: (written: T) => void): T {
  try {
    read(written);
  } catch (thrown) {
    throw new KeyError('KMS_BAD_ANSWER', `not written, for it could not be read back: ${toKeyError(thrown).message}`, {
      hint: 'KMS answered something that AWS never does: check aws_key_management_endpoint_url and any proxy between',
      cause: thrown,
    });
  }
  return written;
}
