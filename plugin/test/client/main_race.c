// SPDX-License-Identifier: GPL-2.0-only
#define TEST_SUFFIX " (thread sanitizer)"
#include "test/client/fake_agent.h"
#include "test/test.inc.h"

int main(void)
{
  race_tests();
  contexts_tests();
  fake_open();
  client_tests();
  look_tests();
  protocol_tests();
  start_tests();
  limits_tests();
  waiting_tests();
  fake_close();
  return 0;
}
