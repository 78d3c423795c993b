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

/* What the environment says about it, copied: another thread may not read the environment, since
 * the program may be changing it (servers that set their title move it elsewhere). */
struct mal_box_place {
    char named[MAL_BOX_FOLDER_BYTES];   /* $MALLARD_DIR, "" when not set */
    char runtime[MAL_BOX_FOLDER_BYTES]; /* $XDG_RUNTIME_DIR, "" when not set or not a path */
};

/* Fills `ret_place` from the environment; from the thread that may change it. Privileged programs
 * get an empty one. A folder that is too long to be used is kept cut short, and so refused later.
 */
void mal_box_place_read(struct mal_box_place *ret_place);

/* Fills `ret_path` with the folder to make a box in, created where the order above says so.
 * The two private folders must belong to the caller and be closed to others: -EPERM.
 * -ENOENT: $MALLARD_DIR names no folder, or no place was found; -ENAMETOOLONG. */
int mal_box_folder_make(const struct mal_box_place *place, char *ret_path, size_t bytes);

/* The same without creating anything. */
int mal_box_folder_find(const struct mal_box_place *place, char *ret_path, size_t bytes);

#endif
