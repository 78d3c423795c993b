/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing a heap profile to a file, for `heap` and for what `run` leaves of a killed program.
 */
#ifndef MAL_CLI_HEAP_H
#define MAL_CLI_HEAP_H

#include "box/reader.h"

/* Gzipped profile.proto; 0 or a negative errno. */
int cli_write_heap(struct mal_box_reader *reader, const char *path);

#endif
