/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys.
 *
 * Terminals send arrows and their like as ESC [ PARAMETERS LETTER, or ESC O LETTER in the mode of
 * keypads. The escape key alone is the same first byte and nothing after it: only the caller, who
 * waited, can tell.
 *
 * SYNCHRONIZATION  None needed.
 */
#include "cli/key.h"

#include <string.h>

#define SEQUENCE_MAX 16

struct sequence {
    const char *text;
    int key;
};

/* Behind ESC [ or ESC O. */
static const struct sequence sequences[] = {
    {"A", CLI_KEY_UP},    {"B", CLI_KEY_DOWN}, {"C", CLI_KEY_RIGHT},    {"D", CLI_KEY_LEFT},
    {"H", CLI_KEY_HOME},  {"F", CLI_KEY_END},  {"1~", CLI_KEY_HOME},    {"4~", CLI_KEY_END},
    {"7~", CLI_KEY_HOME}, {"8~", CLI_KEY_END}, {"5~", CLI_KEY_PAGE_UP}, {"6~", CLI_KEY_PAGE_DOWN},
    {"M", CLI_KEY_ENTER},
};

static int known(const char *text, size_t bytes) {
    for (size_t i = 0; i < sizeof sequences / sizeof sequences[0]; i++)
        if (strlen(sequences[i].text) == bytes && memcmp(sequences[i].text, text, bytes) == 0)
            return sequences[i].key;
    return CLI_KEY_NONE;
}

static int decode_sequence(const char *bytes, size_t count, size_t *ret_taken) {
    for (size_t at = 2; at < count; at++) {
        unsigned char c = (unsigned char)bytes[at];
        if (c >= 0x40 && c <= 0x7e) {
            *ret_taken = at + 1;
            return known(bytes + 2, at - 1);
        }
        if (c < 0x20 || c > 0x7e || at >= SEQUENCE_MAX) {
            *ret_taken = at;
            return CLI_KEY_NONE;
        }
    }
    *ret_taken = 0;
    return CLI_KEY_NONE;
}

int cli_key_decode(const char *bytes, size_t count, size_t *ret_taken) {
    *ret_taken = count > 0;
    if (count == 0)
        return CLI_KEY_NONE;
    if (bytes[0] == '\n')
        return CLI_KEY_ENTER;
    if (bytes[0] != CLI_KEY_ESCAPE)
        return (unsigned char)bytes[0];
    if (count == 1) {
        *ret_taken = 0;
        return CLI_KEY_NONE;
    }
    if (bytes[1] != '[' && bytes[1] != 'O')
        return CLI_KEY_ESCAPE;
    return decode_sequence(bytes, count, ret_taken);
}
