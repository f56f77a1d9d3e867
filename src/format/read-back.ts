import { KeyError, toKeyError } from '../errors.ts';

/**
 * What is about to be written, once its own reader has taken it.
 * @param read throws when it does not
 * @throws KeyError KMS_BAD_ANSWER: nothing is to be written, and what it was for fails now and not at a later start
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
