/**
 * Why there are no credentials. `name` is a row of the failure table: one of ours, or the error name of STS.
 * Made anew and without a cause: what a credential process printed, and its command line, may hold secrets.
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

/** The first line in the voice of our messages. */
export function sentence(text: string): string {
  return (text.split('\n', 1)[0] ?? '').replace(/^(?:\w*Error: )+(?=connect |socket |\w*Error)/, '').replace(/\.$/, '');
}
