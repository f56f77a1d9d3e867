/** The name of an AWS Region, of every partition: `eu-central-1`, `us-gov-west-1`, `eusc-de-east-1`. */
export const REGION: RegExp = /^[a-z]{2,}(?:-[a-z]+)+-\d{1,2}$/;

/** As the plugin words it (plugin/client/settings.c). */
export const REGION_EXPECTED = 'the name of a Region such as eu-central-1';
