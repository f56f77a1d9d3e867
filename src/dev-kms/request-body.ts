import type { IncomingMessage } from 'node:http';
import { KmsFault } from './kms-fault.ts';

/** Far above the largest request, a CreateKey with a policy of 128 KiB. */
const MAX_BODY_BYTES = 1_048_576;

/** @throws KmsFault RequestEntityTooLargeException */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > MAX_BODY_BYTES) {
      throw new KmsFault('RequestEntityTooLargeException', `the request has more than ${MAX_BODY_BYTES} bytes`, 413);
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}
