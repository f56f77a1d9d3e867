/**
 * A refusal in AWS's own words: `name` is AWS's error name (the `__type` on the wire), `message` AWS's message, empty
 * where AWS sends none, `status` the HTTP status. KMS answers 400 unless the fault is the service's.
 *
 * The texts were compared with recorded AWS answers (the KMS snapshots in LocalStack's repository, AWS's documentation
 * and users' reports). Those that could not be found anywhere are marked so where they are thrown.
 */
export class KmsFault extends Error {
  override readonly name: string;
  readonly status: number;

  constructor(name: string, message: string, status = 400) {
    super(message);
    this.name = name;
    this.status = status;
  }
}

export function notFound(message: string): KmsFault {
  return new KmsFault('NotFoundException', message);
}

export function validation(message: string): KmsFault {
  return new KmsFault('ValidationException', message);
}

export function invalidState(message: string): KmsFault {
  return new KmsFault('KMSInvalidStateException', message);
}

/** A wrong encryption context and a changed byte give the same error. AWS sends no message with it. */
export function invalidCiphertext(): KmsFault {
  return new KmsFault('InvalidCiphertextException', '');
}

/** The error for a blob of another account or Region, or of a deleted key. */
export function foreignCiphertext(): KmsFault {
  return new KmsFault(
    'AccessDeniedException',
    'The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.',
  );
}

export function incorrectKey(): KmsFault {
  return new KmsFault(
    'IncorrectKeyException',
    'The key ID in the request does not identify a CMK that can perform this operation.',
  );
}

export function dryRunSucceeded(): KmsFault {
  return new KmsFault('DryRunOperationException', 'The request would have succeeded, but the DryRun option is set.');
}

export function deniedByIdentityPolicy(userArn: string, action: string, resource: string): KmsFault {
  return new KmsFault(
    'AccessDeniedException',
    `User: ${userArn} is not authorized to perform: kms:${action} on resource: ${resource} because no identity-based policy allows the kms:${action} action`,
  );
}

export function deniedByResource(userArn: string, action: string): KmsFault {
  return new KmsFault(
    'AccessDeniedException',
    `User: ${userArn} is not authorized to perform: kms:${action} on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access`,
  );
}
