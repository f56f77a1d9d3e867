// SPDX-License-Identifier: GPL-2.0-only
#define TEST_SUFFIX ""
#include "test.inc.h"

int main(void)
{
  frame_tests();
  keytable_tests();
  text_tests();
  settings_tests();
  recent_tests();
  spawn_tests();
  agent_tests();
  return 0;
}
