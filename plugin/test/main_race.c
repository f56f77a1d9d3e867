// SPDX-License-Identifier: GPL-2.0-only
#define TEST_SUFFIX " (thread sanitizer)"
#include "test.inc.h"

int main(void)
{
  race_tests();
  agent_tests();
  return 0;
}
