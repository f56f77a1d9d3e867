/** The name of an AWS Region in any partition: `eu-central-1`, `us-gov-west-1`, `eusc-de-east-1`. */
export const REGION: RegExp = /^[a-z]{2,}(?:-[a-z]+)+-\d{1,2}$/;

/** The same wording as the plugin's (plugin/client/settings.c). */
export const REGION_EXPECTED = 'the name of a Region such as eu-central-1';
