/** KMS's limit for CiphertextBlob. */
export const MAX_WRAPPED_KEY_BYTES = 6144;
