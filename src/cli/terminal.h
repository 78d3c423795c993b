/* SPDX-License-Identifier: Apache-2.0
 *
 * The terminal of a program that draws the whole screen and takes single keys. One per process.
 */
#ifndef MAL_CLI_TERMINAL_H
#define MAL_CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

/* Whether standard input and output are a terminal that knows how to move its cursor. */
bool cli_terminal_usable(void);

/* Whether to use colours and the like on standard output. */
bool cli_colours(void);

/* Takes the terminal over: a screen of its own, keys without Enter. It is given back by
 * cli_terminal_close, by exit, and by every signal that ends or stops the process and can be
 * caught; after a stop it is taken over again. 0 or -errno. */
int cli_terminal_open(void);
void cli_terminal_close(void);

struct cli_size {
    size_t rows, columns;
};
struct cli_size cli_terminal_size(void);

/* The next key (see cli/key.h), CLI_KEY_NONE when none came in that time. */
int cli_terminal_key(int timeout_ms);

#endif
