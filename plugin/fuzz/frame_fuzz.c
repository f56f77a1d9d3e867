// SPDX-License-Identifier: GPL-2.0-only
/*
  The frame parser and its readers, on a stream that is cut anywhere: the first byte of the input is the size of the pieces.
*/
#include <stdlib.h>
#include <string.h>

#include "client/frame.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
  if (!holds)
    abort();
}

static void read_fields(const struct frame *frame)
{
  struct frame_reader reader= frame_read(frame);
  uint8_t last= frame->type;
  while (!reader.bad && reader.left)
  {
    size_t before= reader.left;
    struct frame_text text= {.text= "", .size= 0};
    const uint8_t *bytes= NULL;
    switch (last % 5)
    {
    case 0: last= frame_u8(&reader); break;
    case 1: last= (uint8_t) frame_u16(&reader); break;
    case 2: last= (uint8_t) frame_u32(&reader); break;
    case 3:
      text= frame_str(&reader);
      check(text_is_utf8((const uint8_t *) text.text, text.size));
      last= (uint8_t) text.size;
      break;
    default:
      bytes= frame_bytes(&reader, 1u + last % 32u);
      last= bytes ? bytes[0] : 0;
    }
    check(reader.bad || reader.left < before);
  }
  check(frame_end(&reader) == (!reader.bad && reader.left == 0));
}

/* Asserts that the writer makes the same bytes of the fields that were read. */
static void write_again(const struct frame *frame, const uint8_t *bytes)
{
  static uint8_t again[FRAME_TOTAL_MAX];
  struct frame_writer writer= frame_begin(again, sizeof again, frame->type, frame->request);
  for (size_t i= 0; i < frame->size; i++)
    frame_put_u8(&writer, frame->payload[i]);
  size_t size= frame_finish(&writer);
  check(size == FRAME_PREFIX + FRAME_MIN + frame->size && memcmp(again, bytes, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static struct frame_parser parser;
  if (size == 0)
    return 0;
  size_t piece= 1 + (size_t) data[0] * 64, at= 1, began= 1;
  frame_parser_reset(&parser);
  while (at < size)
  {
    struct frame frame;
    size_t room, count= size - at < piece ? size - at : piece;
    uint8_t *space= frame_parser_space(&parser, &room);
    check(room > 0 && room <= FRAME_TOTAL_MAX - parser.have);
    count= count < room ? count : room;
    memcpy(space, data + at, count);
    at+= count;
    enum frame_result result= frame_parser_added(&parser, count, &frame);
    if (result == FRAME_BAD)
      return 0;
    if (result == FRAME_MORE)
      continue;
    check(at - began == FRAME_PREFIX + FRAME_MIN + frame.size);
    read_fields(&frame);
    write_again(&frame, data + began);
    frame_parser_next(&parser);
    began= at;
  }
  return 0;
}
