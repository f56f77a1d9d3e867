import { expect, it, vi } from 'vitest';
import { startContainer } from '../../../../support/aws-stand-ins/container.ts';
import { startInstance } from '../../../../support/aws-stand-ins/instance.ts';
import { processDocument } from '../../../../support/aws-stand-ins/issuer.ts';
import { keysOf, startScene } from '../../../../support/aws-stand-ins/scene.ts';
import { startSts } from '../../../../support/aws-stand-ins/sts.ts';

/** All sources are set up; the test removes the used one, step by step. */
it('the agent prefers environment, profile, web identity, container and instance, in that order', async () => {
  const scene = await startScene();
  const { issuer } = scene;
  const [sts, container, instance] = await Promise.all([
    startSts(issuer),
    startContainer(issuer),
    startInstance(issuer),
  ]);
  const [environment, profile] = [issuer.user(), issuer.user()];
  scene.file('.aws/credentials', `[default]\n${keysOf(profile)}`);
  scene.environment({
    AWS_ACCESS_KEY_ID: environment.accessKeyId,
    AWS_SECRET_ACCESS_KEY: environment.secretAccessKey,
    AWS_WEB_IDENTITY_TOKEN_FILE: scene.file('token', sts.webIdentityToken),
    AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/keys',
    AWS_ENDPOINT_URL_STS: sts.url,
    AWS_CONTAINER_CREDENTIALS_FULL_URI: container.credentialsUrl,
    AWS_EC2_METADATA_DISABLED: undefined,
    AWS_EC2_METADATA_SERVICE_ENDPOINT: instance.url,
  });
  const asked = (): number[] => [sts, container, instance].map((service) => service.asked.length);
  const use = async (): Promise<string> => await scene.use(await scene.client());

  expect(await use()).toBe(environment.accessKeyId);
  scene.environment({ AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined });
  expect(await use()).toBe(profile.accessKeyId);
  expect(asked()).toEqual([0, 0, 0]);
  scene.file('.aws/credentials', '');
  await use();
  expect(asked()).toEqual([1, 0, 0]);
  scene.environment({ AWS_WEB_IDENTITY_TOKEN_FILE: undefined });
  await use();
  expect(asked()).toEqual([1, 1, 0]);
  scene.environment({ AWS_CONTAINER_CREDENTIALS_FULL_URI: undefined });
  await use();
  expect(asked()).toEqual([1, 1, 3]);
});

it('the agent prefers the profile that AWS_PROFILE names to the keys of the environment, silently', async () => {
  const scene = await startScene();
  const [environment, profile] = [scene.issuer.user(), scene.issuer.user()];
  scene.file('.aws/credentials', `[keys]\n${keysOf(profile)}`);
  scene.environment({
    AWS_PROFILE: 'keys',
    AWS_ACCESS_KEY_ID: environment.accessKeyId,
    AWS_SECRET_ACCESS_KEY: environment.secretAccessKey,
  });
  expect(await scene.use(await scene.client())).toBe(profile.accessKeyId);
  expect(vi.mocked(console.warn)).not.toHaveBeenCalled();
});

it('the agent prefers the credentials file to the config file, and keys to a credential process', async () => {
  const scene = await startScene();
  const [fromConfig, fromCredentials, fromProcess] = [scene.issuer.user(), scene.issuer.user(), scene.issuer.user()];
  const answer = scene.file('answer.json', JSON.stringify(processDocument(fromProcess)));
  const command = `credential_process = cat ${answer}\n`;
  scene.file('.aws/config', `[default]\n${keysOf(fromConfig)}${command}`);
  const credentials = scene.file('.aws/credentials', `[default]\n${keysOf(fromCredentials)}`);
  const used = [await scene.use(await scene.client())];
  scene.file(credentials.slice(scene.home.length + 1), '');
  used.push(await scene.use(await scene.client()));
  scene.file('.aws/config', `[default]\n${command}`);
  used.push(await scene.use(await scene.client()));
  expect(used).toEqual([fromCredentials, fromConfig, fromProcess].map(({ accessKeyId }) => accessKeyId));
});
