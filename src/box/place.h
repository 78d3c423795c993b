/* SPDX-License-Identifier: Apache-2.0
 *
 * Where boxes are, for the side that makes them. The reader's side is mal_box_folder in reader.h;
 * both follow the same order, so that they meet.
 *
 *   $MALLARD_DIR                used as it is, never created
 *   /run/mallard                if it is there; sticky, made by the package
 *   $XDG_RUNTIME_DIR/mallard    created 0700
 *   /dev/shm/mallard.<uid>      created 0700
 */
#ifndef MAL_BOX_PLACE_H
#define MAL_BOX_PLACE_H

#include <stddef.h>

/* Longest folder that either side accepts, with the terminating NUL. */
#define MAL_BOX_FOLDER_BYTES 256u

/* Fills `ret_path` with the folder to make a box in, created where the order above says so.
 * The two private folders must belong to the caller and be closed to others: -EPERM.
 * -ENOENT: $MALLARD_DIR names no folder, or no place was found; -ENAMETOOLONG. */
int mal_box_folder_make(char *ret_path, size_t bytes);

#endif
