/** The metadata of an answer that the SDK keeps. */
export interface AnswerMetadata {
  /** Empty when no answer came, or none of AWS. */
  readonly requestId: string;
  /** HTTP status; 0 when no answer came. */
  readonly status: number;
}

/** @param metadata `$metadata` of an error */
export function readMetadata(metadata: unknown): AnswerMetadata {
  if (typeof metadata !== 'object' || metadata === null) return { requestId: '', status: 0 };
  const requestId = 'requestId' in metadata && typeof metadata.requestId === 'string' ? metadata.requestId : '';
  const status =
    'httpStatusCode' in metadata && typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : 0;
  return { requestId, status };
}
