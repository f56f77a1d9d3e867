// SPDX-License-Identifier: GPL-2.0-only
/* The functions of a real server and of its OpenSSL, from the embedded server, a library with the code of mariadbd. */
#ifndef AKM_TEST_PROCESS_H
#define AKM_TEST_PROCESS_H

#include "crypt/aes.h"
#include <stdbool.h>

#include "crypt/libcrypto.h"

/* Loads the library once. Returns false, after a line that says why, if this machine has none. */
bool process_load(struct aes *aes, struct libcrypto *libcrypto);

/*
  The same functions of OpenSSL, counted, by any number of threads. The call of new_ctx, init or update that brings `fails_in` to 0
  fails and does nothing but leave an error; at first 0, none does. `errors` are those that nobody has cleared.
*/
extern struct process_calls
{
  _Atomic unsigned new_ctx, free_ctx, set_key, set_iv, update, fails_in, errors;
} process_calls;

void process_no_calls(void);

struct libcrypto process_counted(const struct libcrypto *libcrypto);

#endif
