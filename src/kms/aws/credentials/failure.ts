/**
 * The reason why there are no credentials. `name` is a row of the failure table: one of ours, or the error name of STS.
 * It is a new error without a cause, because the output and command line of a credential process may hold secrets.
 */
export class CredentialFailure extends Error {
  override readonly name: string;
  readonly $metadata: unknown;

  constructor(name: string, message: string, metadata?: unknown) {
    super(message);
    this.name = name;
    this.$metadata = metadata;
  }
}

/** Formats the first line of a text as a message of ours. */
export function sentence(text: string): string {
  return (text.split('\n', 1)[0] ?? '').replace(/^(?:\w*Error: )+(?=connect |socket |\w*Error)/, '').replace(/\.$/, '');
}
