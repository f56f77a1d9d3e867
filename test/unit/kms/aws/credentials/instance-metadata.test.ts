import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { expect, it } from 'vitest';
import { type InstanceStandIn, startInstance } from '../../../../support/aws-stand-ins/instance.ts';
import type { Reply, Silence } from '../../../../support/aws-stand-ins/loopback.ts';
import { type Scene, startScene } from '../../../../support/aws-stand-ins/scene.ts';
import { startSts } from '../../../../support/aws-stand-ins/sts.ts';

async function stage(): Promise<{ scene: Scene; instance: InstanceStandIn }> {
  const scene = await startScene();
  const instance = await startInstance(scene.issuer);
  scene.environment({ AWS_EC2_METADATA_DISABLED: undefined, AWS_EC2_METADATA_SERVICE_ENDPOINT: instance.url });
  return { scene, instance };
}

it.each([403, 404, 405])('the agent refuses IMDSv1, where a token request gets HTTP %d', async (status) => {
  const { scene, instance } = await stage();
  instance.acceptsV1 = true;
  instance.tokenTrouble = { status, body: '' };
  await scene.fails(await scene.client(), 'KMS_OPERATOR', /: InstanceMetadata(?:V1Only|Off): /);
  expect(new Set(instance.asked)).toEqual(new Set(['PUT /latest/api/token']));
  expect(scene.issuer.issued).toBe(0);
});

it('the agent refuses IMDSv1 even where the configuration allows it', async () => {
  const { scene, instance } = await stage();
  instance.acceptsV1 = true;
  instance.tokenTrouble = { status: 404, body: '' };
  scene.environment({ AWS_EC2_METADATA_V1_DISABLED: 'false' });
  const error = await scene.fails(
    await scene.client(),
    'KMS_OPERATOR',
    new RegExp(`: InstanceMetadataV1Only: instance metadata at ${instance.url} gives no token: it is not IMDSv2$`),
  );
  expect(error.hint).toContain('IMDSv1 is not used');
  expect(scene.issuer.issued).toBe(0);
});

it('the agent recognises a hop limit by its silence, and works once it is raised', async () => {
  const { scene, instance } = await stage();
  instance.tokenTrouble = 'hang';
  const client = await scene.client();
  const error = await scene.fails(
    client,
    'KMS_OPERATOR',
    new RegExp(
      `: InstanceMetadataHopLimit: instance metadata at ${instance.url}: the request for a token is not answered$`,
    ),
  );
  expect(error.hint).toContain('aws ec2 modify-instance-metadata-options');
  expect(error.hint).toContain('--http-put-response-hop-limit 2');
  instance.tokenTrouble = undefined;
  expect(await scene.use(client)).toMatch(/^ASIA/);
});

it('the agent reports that the instance has no role, and works once it has one', async () => {
  const { scene, instance } = await stage();
  instance.role = undefined;
  const client = await scene.client();
  const error = await scene.fails(
    client,
    'KMS_OPERATOR',
    new RegExp(`: InstanceMetadataNoRole: instance metadata at ${instance.url}: the instance has no role$`),
  );
  expect(error.hint).toContain('associate-iam-instance-profile');
  instance.role = 'database';
  expect(await scene.use(client)).toMatch(/^ASIA/);
});

it('the agent reports that the instance has no role to assume another role with', async () => {
  const { scene, instance } = await stage();
  const sts = await startSts(scene.issuer);
  instance.role = undefined;
  scene.file('.aws/config', '[default]\nrole_arn = arn:aws:iam::1:role/r\ncredential_source = Ec2InstanceMetadata\n');
  scene.environment({ AWS_ENDPOINT_URL_STS: sts.url });
  await scene.fails(await scene.client(), 'KMS_OPERATOR', /: InstanceMetadataNoRole: /);
});

it.each<[string, Reply | Silence, RegExp]>([
  ['answers HTTP 500', { status: 500, body: '' }, /InstanceMetadataTrouble: .*: the request for a token got HTTP 500$/],
  ['is switched off', { status: 403, body: '' }, /InstanceMetadataOff: .* is switched off \(HTTP 403\)$/],
])('the agent reports that instance metadata %s', async (_, trouble, message) => {
  const { scene, instance } = await stage();
  instance.tokenTrouble = trouble;
  const code = message.source.includes('Trouble') ? 'KMS_TRANSIENT' : 'KMS_OPERATOR';
  await scene.fails(await scene.client(), code, message);
});

it('the agent reports that the configured endpoint of instance metadata does not answer', async () => {
  const { scene } = await stage();
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  scene.environment({ AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://127.0.0.1:${port}` });
  const error = await scene.fails(
    await scene.client(),
    'KMS_OPERATOR',
    new RegExp(`: InstanceMetadataUnreachable: instance metadata at http://127.0.0.1:${port} cannot be reached$`),
  );
  expect(error.hint).toContain('AWS_EC2_METADATA_SERVICE_ENDPOINT');
});
