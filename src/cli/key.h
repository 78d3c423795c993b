/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys as a terminal sends them.
 */
#ifndef MAL_CLI_KEY_H
#define MAL_CLI_KEY_H

#include <stddef.h>

/* Plain characters are themselves. */
enum cli_key {
    CLI_KEY_NONE = 0, /* nothing that we know, or nothing yet */
    CLI_KEY_ENTER = '\r',
    CLI_KEY_ESCAPE = 27,
    CLI_KEY_UP = 0x100,
    CLI_KEY_DOWN,
    CLI_KEY_LEFT,
    CLI_KEY_RIGHT,
    CLI_KEY_PAGE_UP,
    CLI_KEY_PAGE_DOWN,
    CLI_KEY_HOME,
    CLI_KEY_END,
    CLI_KEY_RESIZED, /* the screen has to be drawn anew */
    CLI_KEY_GONE     /* nobody will press a key any more */
};

/* The key at the start of `bytes` and how many bytes it took; 0 taken: more bytes are needed to
 * tell. A sequence that we do not know is taken as a whole and is CLI_KEY_NONE. */
int cli_key_decode(const char *bytes, size_t count, size_t *ret_taken);

#endif
