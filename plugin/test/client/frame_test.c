// SPDX-License-Identifier: GPL-2.0-only
#include "client/frame.h"

#include <stdlib.h>
#include <string.h>

#include "test/test.h"

/* Feeds bytes in pieces of step; returns the last result and how many bytes were taken. */
static enum frame_result feed(struct frame_parser *parser, const uint8_t *bytes, size_t size, size_t step,
                              struct frame *frame, size_t *taken)
{
  enum frame_result result= FRAME_MORE;
  *taken= 0;
  while (*taken < size && result == FRAME_MORE)
  {
    size_t room, count= step;
    uint8_t *space= frame_parser_space(parser, &room);
    if (room == 0)
      return FRAME_BAD;
    if (count > room)
      count= room;
    if (count > size - *taken)
      count= size - *taken;
    memcpy(space, bytes + *taken, count);
    *taken+= count;
    result= frame_parser_added(parser, count, frame);
  }
  return result;
}

static struct frame_parser *new_parser(void)
{
  struct frame_parser *parser= malloc(sizeof *parser);
  if (!parser)
    abort();
  frame_parser_reset(parser);
  return parser;
}

static size_t sample(uint8_t *bytes, size_t capacity)
{
  struct frame_writer writer= frame_begin(bytes, capacity, FRAME_KEY, 0xFEDCBA98);
  frame_put_u8(&writer, 0xAB);
  frame_put_u16(&writer, 0xCDEF);
  frame_put_u32(&writer, 0x01234567);
  frame_put_str(&writer, "sch\xC3\xBCssel", 9);
  return frame_finish(&writer);
}

static void check_sample(const struct frame *frame)
{
  struct frame_reader reader= frame_read(frame);
  CHECK(frame->type == FRAME_KEY && frame->request == 0xFEDCBA98);
  CHECK(frame_u8(&reader) == 0xAB);
  CHECK(frame_u16(&reader) == 0xCDEF);
  CHECK(frame_u32(&reader) == 0x01234567);
  CHECK(!frame_end(&reader));
  struct frame_text text= frame_str(&reader);
  CHECK(text.size == 9 && memcmp(text.text, "sch\xC3\xBCssel", 9) == 0);
  CHECK(frame_end(&reader));
}

static void frame_is_big_endian_as_documented(void)
{
  static const uint8_t expected[]= {0, 0, 0, 9, FRAME_LOAD, 0, 0, 1, 2, 0, 0, 0xEA, 0x60};
  uint8_t bytes[32];
  struct frame_writer writer= frame_begin(bytes, sizeof bytes, FRAME_LOAD, 0x102);
  frame_put_u32(&writer, 60000);
  CHECK(frame_finish(&writer) == sizeof expected && memcmp(bytes, expected, sizeof expected) == 0);
}

static void frame_round_trip_in_pieces_of_every_size(void)
{
  uint8_t bytes[64];
  size_t size= sample(bytes, sizeof bytes), taken;
  struct frame_parser *parser= new_parser();
  struct frame frame;
  for (size_t step= 1; step <= size; step++)
  {
    CHECK(feed(parser, bytes, size, step, &frame, &taken) == FRAME_READY);
    CHECK(taken == size);
    check_sample(&frame);
    frame_parser_next(parser);
  }
  free(parser);
}

static void frames_back_to_back_never_mix(void)
{
  uint8_t bytes[128];
  size_t size= sample(bytes, 64), taken;
  memcpy(bytes + size, bytes, size);
  struct frame_parser *parser= new_parser();
  struct frame frame;
  CHECK(feed(parser, bytes, 2 * size, 1000, &frame, &taken) == FRAME_READY && taken == size);
  frame_parser_next(parser);
  CHECK(feed(parser, bytes + size, size, 1000, &frame, &taken) == FRAME_READY && taken == size);
  check_sample(&frame);
  free(parser);
}

static void truncated_frame_is_never_ready(void)
{
  uint8_t bytes[64];
  size_t size= sample(bytes, sizeof bytes), taken;
  struct frame frame;
  for (size_t cut= 0; cut < size; cut++)
  {
    struct frame_parser *parser= new_parser();
    CHECK(feed(parser, bytes, cut, 3, &frame, &taken) == FRAME_MORE);
    free(parser);
  }
}

static void length_field_has_limits(void)
{
  static const struct
  {
    uint32_t length;
    bool good;
  } rows[]= {{0, false}, {4, false}, {5, true}, {16384, true}, {16385, false}, {0x7FFFFFFF, false},
             {0xFFFFFFFF, false}};
  struct frame frame;
  uint8_t *bytes= calloc(1, FRAME_TOTAL_MAX);
  for (size_t i= 0; bytes && i < sizeof rows / sizeof rows[0]; i++)
  {
    struct frame_parser *parser= new_parser();
    size_t taken;
    for (int b= 0; b < 4; b++)
      bytes[b]= (uint8_t) (rows[i].length >> (24 - 8 * b));
    enum frame_result result= feed(parser, bytes, FRAME_TOTAL_MAX, 4096, &frame, &taken);
    CHECK(result == (rows[i].good ? FRAME_READY : FRAME_BAD));
    CHECK(taken == (rows[i].good ? 4 + rows[i].length : 4));
    free(parser);
  }
  free(bytes);
}

static void bad_parser_takes_no_more_bytes(void)
{
  static const uint8_t zero[4];
  struct frame_parser *parser= new_parser();
  struct frame frame;
  size_t taken, room;
  CHECK(feed(parser, zero, 4, 4, &frame, &taken) == FRAME_BAD);
  frame_parser_space(parser, &room);
  CHECK(room == 0);
  CHECK(frame_parser_added(parser, 1, &frame) == FRAME_BAD);
  free(parser);
}

static void next_wipes_the_frame(void)
{
  uint8_t bytes[64];
  size_t size= sample(bytes, sizeof bytes), taken;
  struct frame_parser *parser= new_parser();
  struct frame frame;
  CHECK(feed(parser, bytes, size, 7, &frame, &taken) == FRAME_READY);
  frame_parser_next(parser);
  bool left= false;
  for (size_t i= 0; i < sizeof parser->bytes; i++)
    left= left || parser->bytes[i];
  CHECK(!left);
  free(parser);
}

static void reader_stops_at_the_end(void)
{
  static const uint8_t payload[]= {0, 5, 'a', 'b'};
  struct frame frame= {.type= FRAME_FAIL, .request= 1, .payload= payload, .size= sizeof payload};
  struct frame_reader reader= frame_read(&frame);
  CHECK(frame_str(&reader).size == 0 && reader.bad);
  CHECK(frame_u8(&reader) == 0 && frame_u32(&reader) == 0 && !frame_bytes(&reader, 0) && !frame_end(&reader));
  reader= frame_read(&frame);
  CHECK(frame_u32(&reader) == 0x00056162 && frame_end(&reader));
  CHECK(frame_u8(&reader) == 0 && !frame_end(&reader));
}

static void reader_refuses_text_that_is_not_utf8(void)
{
  static const uint8_t nul[]= {0, 2, 'a', 0}, latin[]= {0, 1, 0xFC}, cut[]= {0, 1, 0xC3};
  const struct frame frames[]= {
    {FRAME_LOG, 0, nul, sizeof nul}, {FRAME_LOG, 0, latin, sizeof latin}, {FRAME_LOG, 0, cut, sizeof cut},
  };
  for (size_t i= 0; i < 3; i++)
  {
    struct frame_reader reader= frame_read(&frames[i]);
    frame_str(&reader);
    CHECK(reader.bad);
  }
}

static void writer_refuses_what_does_not_fit(void)
{
  uint8_t small[8], fitting[9 + 4];
  static const char text[70000];
  uint8_t *large= malloc(2 * FRAME_TOTAL_MAX);
  struct frame_writer writer= frame_begin(small, sizeof small, FRAME_LOAD, 1);
  CHECK(frame_finish(&writer) == 0);
  writer= frame_begin(fitting, sizeof fitting, FRAME_LOAD, 1);
  frame_put_u32(&writer, 1);
  CHECK(frame_finish(&writer) == sizeof fitting);
  frame_put_u8(&writer, 1);
  CHECK(frame_finish(&writer) == 0);
  if (!large)
    return;
  writer= frame_begin(large, 2 * FRAME_TOTAL_MAX, FRAME_SET, 0);
  frame_put_str(&writer, text, FRAME_MAX - FRAME_MIN - 2);
  CHECK(frame_finish(&writer) == FRAME_TOTAL_MAX);
  frame_put_u8(&writer, 1);
  CHECK(frame_finish(&writer) == 0);
  writer= frame_begin(large, 2 * FRAME_TOTAL_MAX, FRAME_SET, 0);
  frame_put_str(&writer, text, sizeof text);
  CHECK(frame_finish(&writer) == 0);
  free(large);
}

/* Random bytes: the parser and readers may refuse them, the sanitizers must find nothing. */
static void random_bytes_do_no_harm(void)
{
  uint32_t state= 12345;
  struct frame_parser *parser= new_parser();
  for (int round= 0; round < 20000; round++)
  {
    uint8_t bytes[64];
    struct frame frame;
    size_t taken;
    for (size_t i= 0; i < sizeof bytes; i++)
    {
      state= state * 1664525 + 1013904223;
      bytes[i]= (uint8_t) (state >> 24);
    }
    bytes[0]= bytes[1]= bytes[2]= 0;
    bytes[3]= (uint8_t) (bytes[3] % 50);
    if (feed(parser, bytes, sizeof bytes, 1 + state % 9, &frame, &taken) == FRAME_READY)
    {
      struct frame_reader reader= frame_read(&frame);
      while (!reader.bad && reader.left)
        if (frame_u8(&reader) & 1)
          frame_str(&reader);
        else
          frame_u32(&reader);
    }
    frame_parser_reset(parser);
  }
  free(parser);
}

/*
  Returns the fields of a frame as in docs/protocol.md: 1, 2 and 4 are integers of so many bytes, s a str, k a u8 and as
  many bytes.
*/
static const char *fields_of(uint8_t type)
{
  switch (type)
  {
  case FRAME_WELCOME: return "2s";
  case FRAME_KEY: return "4411k";
  case FRAME_DONE: return "44";
  case FRAME_FAIL: return "sss";
  case FRAME_LOG: return "1s";
  case FRAME_MISSING: return "4";
  case FRAME_MASTERKEY: return "14";
  case FRAME_SET: return "ss";
  case FRAME_LOAD:
  case FRAME_CHECK: return "4";
  case FRAME_OPEN: return "414";
  case FRAME_FETCH: return "444";
  case FRAME_ROTATE: return "44";
  default: return NULL;
  }
}

static bool has_fields(const struct frame *frame)
{
  struct frame_reader reader= frame_read(frame);
  if (frame->type == FRAME_STATS)
    for (uint8_t left= frame_u8(&reader); left; left--)
    {
      frame_u8(&reader);
      frame_u32(&reader);
    }
  else if (frame->type == FRAME_HELLO)
  {
    frame_u16(&reader);
    frame_u8(&reader);
    frame_u32(&reader);
    for (uint16_t left= frame_u16(&reader); left; left--)
    {
      frame_str(&reader);
      frame_str(&reader);
    }
  }
  else
    for (const char *field= fields_of(frame->type); field && *field; field++)
      *field == '1'   ? (void) frame_u8(&reader)
      : *field == '2' ? (void) frame_u16(&reader)
      : *field == '4' ? (void) frame_u32(&reader)
      : *field == 's' ? (void) frame_str(&reader)
                      : (void) frame_bytes(&reader, frame_u8(&reader));
  return frame_end(&reader);
}

/* The vectors have lines "plugin HEX" or "agent HEX", one frame each. */
static void conversation_of_protocol_1_is_read_frame_by_frame(void)
{
  static char line[2 * FRAME_TOTAL_MAX + 16];
  FILE *vectors= fopen("../test/vectors/protocol-1/session.txt", "r");
  struct frame_parser *parser= new_parser();
  bool seen[256]= {false};
  int frames= 0;
  CHECK(vectors);
  while (vectors && fgets(line, sizeof line, vectors))
  {
    uint8_t bytes[FRAME_TOTAL_MAX];
    const char *hex= strchr(line, ' ') + 1;
    size_t size= 0, taken;
    struct frame frame;
    for (unsigned byte; size < sizeof bytes && sscanf(hex + 2 * size, "%2x", &byte) == 1; size++)
      bytes[size]= (uint8_t) byte;
    CHECK(feed(parser, bytes, size, 7, &frame, &taken) == FRAME_READY && taken == size);
    CHECK(has_fields(&frame) && (frame.type & 0x80) == (line[0] == 'a' ? 0x80 : 0));
    seen[frame.type]= true;
    frames++;
    frame_parser_next(parser);
  }
  if (vectors)
    fclose(vectors);
  for (uint8_t type= FRAME_HELLO; type <= FRAME_CHECK; type++)
    CHECK(seen[type]);
  for (uint8_t type= FRAME_WELCOME; type <= FRAME_MASTERKEY; type++)
    CHECK(seen[type]);
  CHECK(frames == 104);
  free(parser);
}

void frame_tests(void)
{
  TEST(conversation_of_protocol_1_is_read_frame_by_frame);
  TEST(frame_is_big_endian_as_documented);
  TEST(frame_round_trip_in_pieces_of_every_size);
  TEST(frames_back_to_back_never_mix);
  TEST(truncated_frame_is_never_ready);
  TEST(length_field_has_limits);
  TEST(bad_parser_takes_no_more_bytes);
  TEST(next_wipes_the_frame);
  TEST(reader_stops_at_the_end);
  TEST(reader_refuses_text_that_is_not_utf8);
  TEST(writer_refuses_what_does_not_fit);
  TEST(random_bytes_do_no_harm);
}
