import {
  AlreadyExistsException,
  CreateAliasCommand,
  CreateKeyCommand,
  DeleteAliasCommand,
  DescribeKeyCommand,
  InvalidAliasNameException,
  ListAliasesCommand,
  NotFoundException,
  UpdateAliasCommand,
} from '@aws-sdk/client-kms';
import { expect, test } from 'vitest';
import { ACCOUNT, caught, client, endpoint, expectFault, present } from './endpoint.ts';

const PREFIX = `arn:aws:kms:us-east-1:${ACCOUNT}:`;

test('an alias is created, listed, updated and deleted', async () => {
  const sdk = client(await endpoint());
  const first = present((await sdk.send(new CreateKeyCommand({}))).KeyMetadata);
  const second = present((await sdk.send(new CreateKeyCommand({}))).KeyMetadata);
  const AliasName = 'alias/mariadb/main_1-x';
  await sdk.send(new CreateAliasCommand({ AliasName, TargetKeyId: first.KeyId }));
  await sdk.send(new CreateAliasCommand({ AliasName: 'alias/another', TargetKeyId: second.Arn }));
  const listed = present((await sdk.send(new ListAliasesCommand({}))).Aliases);
  expect(listed.map((alias) => alias.AliasName)).toEqual(['alias/another', AliasName]);
  expect(listed[1]).toEqual({
    AliasName,
    AliasArn: `${PREFIX}${AliasName}`,
    TargetKeyId: first.KeyId,
    CreationDate: expect.any(Date),
    LastUpdatedDate: expect.any(Date),
  });
  expect((await sdk.send(new ListAliasesCommand({ KeyId: second.KeyId }))).Aliases).toHaveLength(1);
  const page = await sdk.send(new ListAliasesCommand({ Limit: 1 }));
  expect(page).toMatchObject({ Truncated: true, Aliases: [{ AliasName: 'alias/another' }] });
  const rest = await sdk.send(new ListAliasesCommand({ Limit: 1, Marker: page.NextMarker }));
  expect(rest).toMatchObject({ Truncated: false, Aliases: [{ AliasName }] });

  expect((await sdk.send(new DescribeKeyCommand({ KeyId: AliasName }))).KeyMetadata?.Arn).toBe(first.Arn);
  await sdk.send(new UpdateAliasCommand({ AliasName, TargetKeyId: second.KeyId }));
  expect((await sdk.send(new DescribeKeyCommand({ KeyId: `${PREFIX}${AliasName}` }))).KeyMetadata?.Arn).toBe(
    second.Arn,
  );
  await sdk.send(new DeleteAliasCommand({ AliasName }));
  await expectFault(
    sdk.send(new DescribeKeyCommand({ KeyId: AliasName })),
    'NotFoundException',
    `Alias ${PREFIX}${AliasName} is not found.`,
    NotFoundException,
  );
});

test('invalid alias names are refused', async () => {
  const sdk = client(await endpoint({ aliases: ['alias/there'] }));
  const { KeyId: TargetKeyId } = present((await sdk.send(new CreateKeyCommand({}))).KeyMetadata);
  const create = (AliasName: string, target = TargetKeyId) =>
    sdk.send(new CreateAliasCommand({ AliasName, TargetKeyId: target }));
  await expectFault(
    create('alias/there'),
    'AlreadyExistsException',
    `An alias with the name ${PREFIX}alias/there already exists`,
    AlreadyExistsException,
  );
  await expectFault(
    create('there'),
    'ValidationException',
    'Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html',
  );
  await expectFault(create('alias/a:b'), 'ValidationException', 'alias/a:b contains invalid characters for an alias');
  await expectFault(
    create('alias/a b'),
    'ValidationException',
    "1 validation error detected: Value 'alias/a b' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9/_-]+$",
  );
  await expectFault(
    create('alias/'),
    'InvalidAliasNameException',
    'Alias must not be empty',
    InvalidAliasNameException,
  );
  await expectFault(
    create('alias/new', 'alias/there'),
    'ValidationException',
    'Aliases must refer to keys. Not aliases',
  );
  await expectFault(
    create('alias/new', 'nonsense'),
    'NotFoundException',
    "Invalid keyId 'nonsense'",
    NotFoundException,
  );
  expect((await caught(create('alias/aws/mine'))).name).toBe('NotAuthorizedException');
  const missing = `Alias ${PREFIX}alias/none is not found.`;
  await expectFault(
    sdk.send(new UpdateAliasCommand({ AliasName: 'alias/none', TargetKeyId })),
    'NotFoundException',
    missing,
  );
  await expectFault(sdk.send(new DeleteAliasCommand({ AliasName: 'alias/none' })), 'NotFoundException', missing);
});
