/** Phrases of hints that are written for an agent that the server starts, each with that for a separate agent. */
const PHRASES: readonly (readonly [of: RegExp, separate: string])[] = [
  // A colon follows the name of an option whose value is refused: that value is the server's.
  [/\baws_key_management_region\b(?!:)/g, "the agent's --region"],
  [/\baws_key_management_endpoint_url\b(?!:)/g, "the agent's --endpoint-url"],
  [/\baws_key_management_failover_regions\b(?!:)/g, "the agent's --failover-regions"],
  [/\bthe server must reach\b/g, 'the agent must reach'],
  [/ and, under SELinux, `setsebool -P mysql_connect_any 1`/g, ''],
  [/\bgive the server (an identity|another identity)\b/g, 'give the agent $1'],
  [
    /\bthat AWS_SHARED_CREDENTIALS_FILE names in its unit \(([^;)]+)(?:; the drop-in is [^)]+)?\)/g,
    'that AWS_SHARED_CREDENTIALS_FILE in /etc/default/mariadb-aws-kms names ($1)',
  ],
  [
    /, which a drop-in of its unit names \([^)]+\)/g,
    ', which AWS_SHARED_CREDENTIALS_FILE in /etc/default/mariadb-aws-kms names',
  ],
  [/ \(that of the server, or mariadb-aws-kms for a separate agent\)/g, ''],
  [/\bthat the server may read the file\b/g, 'that the agent may read the file'],
  [/\bin the environment of the server\b/g, 'in the environment of the agent'],
  [/\bkeeps the server from it\b/g, 'keeps the agent from it'],
  [/\bLimitNOFILE of the server\b/g, 'LimitNOFILE of the agent'],
];

/**
 * Turns a text that may have a hint about Region, endpoint or AWS identity into the terms of a separate agent, which has its
 * own: flags in the place of the server's options, its own service in the place of the server's.
 */
export function inAgentTerms(text: string): string {
  return PHRASES.reduce((left, [of, separate]) => left.replaceAll(of, separate), text);
}
