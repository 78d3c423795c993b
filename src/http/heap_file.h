/* SPDX-License-Identifier: Apache-2.0
 *
 * A heap profile without a server: for a program that asks for one, for `mallard heap`, and for
 * what `mallard run` leaves of a program that was killed.
 */
#ifndef MAL_HTTP_HEAP_FILE_H
#define MAL_HTTP_HEAP_FILE_H

#include "view/view.h"

/* Writes the profile of that box to `fd` as gzipped profile.proto. 0 or -errno. */
int http_heap_write(struct mal_box_reader *reader, enum view_heap_kind kind, int fd);

/* Writes all bytes, going on after interruptions. 0 or -errno. */
int http_write_all(int fd, const void *data, size_t bytes);

#endif
