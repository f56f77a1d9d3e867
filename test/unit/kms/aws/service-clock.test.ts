import { createServer } from 'node:http';
import { DescribeKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../../src/cli/system.ts';
import { RecordingHandler } from '../../../../src/kms/aws/recording-handler.ts';
import { Secrets } from '../../../../src/secrets.ts';
import { type Scene, startScene } from '../../../support/aws-stand-ins/scene.ts';
import { forwarding, listening } from '../../../support/fronts.ts';

const ABSURD = [
  'Sat, 13 Sep 275760 00:00:00 GMT',
  'Thu, 01 Jan 1970 00:00:00 GMT',
  'Sat, 01 Jan 12026 00:00:00 GMT',
  'yesterday',
  '',
];
const HOUR_MS = 3_600_000;

/** A front of KMS that writes its own Date while `date` is set. */
async function datingFront(scene: Scene): Promise<{ readonly url: string; date: string | undefined }> {
  const dating = forwarding(scene.kms.url, (headers) =>
    front.date === undefined ? headers : { ...headers, date: front.date },
  );
  const front = {
    url: `http://127.0.0.1:${await listening(createServer(dating))}`,
    date: undefined as string | undefined,
  };
  return front;
}

async function keyedScene() {
  const scene = await startScene();
  const key = scene.issuer.user();
  scene.environment({
    AWS_ACCESS_KEY_ID: key.accessKeyId,
    AWS_SECRET_ACCESS_KEY: key.secretAccessKey,
    AWS_ENDPOINT_URL_KMS: undefined,
  });
  return { scene, key, front: await datingFront(scene) };
}

describe('the Date of an answer', () => {
  it.each(ABSURD)('that is absurd (%j) changes nothing for later calls', async (date) => {
    const { scene, key, front } = await keyedScene();
    const client = await scene.client({ endpointUrl: front.url });
    front.date = date;
    expect(await scene.use(client)).toBe(key.accessKeyId);
    expect(await scene.use(client)).toBe(key.accessKeyId);
    front.date = undefined;
    expect(await scene.use(client)).toBe(key.accessKeyId);
  });

  it.each(ABSURD)('that is absurd (%j) changes nothing when the signature was refused', async (date) => {
    const { scene, key, front } = await keyedScene();
    const client = await scene.client({ endpointUrl: front.url });
    front.date = date;
    scene.kms.faults.set([
      { kind: 'error', name: 'InvalidSignatureException', status: 400, message: 'expired', count: 1 },
    ]);
    expect(await scene.use(client)).toBe(key.accessKeyId);
    expect(scene.calls.filter(({ error }) => error === '')).toHaveLength(1);
  });

  it('that a proxy puts into every answer does not make KMS refuse us', async () => {
    const { scene, front } = await keyedScene();
    const client = await scene.client({ endpointUrl: front.url });
    front.date = new Date(Date.now() + HOUR_MS).toUTCString();
    for (let call = 0; call < 3; call += 1) await scene.use(client);
    expect(scene.calls).toHaveLength(3);
  });

  it('corrects our clock when the signature was refused, until ours is right again', async () => {
    const { scene, key, front } = await keyedScene();
    let offMs = -56 * 365 * 24 * HOUR_MS;
    const clock = { ...systemClock, wallMs: () => systemClock.wallMs() + offMs };
    const client = await scene.client({ endpointUrl: front.url, surroundings: { clock } });
    expect(await scene.use(client)).toBe(key.accessKeyId);
    expect(await scene.use(client)).toBe(key.accessKeyId);
    expect(scene.calls).toHaveLength(3);
    offMs = 0;
    expect(await scene.use(client)).toBe(key.accessKeyId);
    expect(scene.calls).toHaveLength(5);
  });

  it('that is wrong in a refusal for another reason affects one call at most', async () => {
    const { scene, key, front } = await keyedScene();
    const client = await scene.client({ endpointUrl: front.url });
    front.date = new Date(Date.now() + HOUR_MS).toUTCString();
    scene.kms.faults.set([
      { kind: 'error', name: 'InvalidSignatureException', status: 400, message: 'for a reason', count: 1 },
    ]);
    expect(await scene.use(client)).toBe(key.accessKeyId);
    const before = scene.calls.length;
    expect(await scene.use(client)).toBe(key.accessKeyId);
    expect(scene.calls.length - before).toBe(1);
  });
});

it("the SDK's own clients go on signing after an answer with an absurd Date", async () => {
  const { scene, front } = await keyedScene();
  const { accessKeyId, secretAccessKey } = scene.issuer.user();
  const client = new KMSClient({
    region: 'us-east-1',
    endpoint: front.url,
    credentials: { accessKeyId, secretAccessKey },
    requestHandler: new RecordingHandler({}, new Secrets(), undefined),
  });
  front.date = 'Sat, 13 Sep 275760 00:00:00 GMT';
  const command = new DescribeKeyCommand({ KeyId: 'alias/a' });
  for (let call = 0; call < 2; call += 1) {
    expect((await client.send(command)).KeyMetadata?.Arn).toBe(scene.kms.keyArns[0]);
  }
  client.destroy();
});
