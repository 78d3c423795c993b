/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading a companion library of our own.
 */
#ifndef MAL_OS_LIBRARY_H
#define MAL_OS_LIBRARY_H

/* Loads `name` from the folder this code was loaded from, else by the usual search, with its
 * symbols kept to itself. NULL when it is not there. Takes the loader's lock and allocates: never
 * from inside malloc. */
void *mal_library_load(const char *name);
void *mal_library_symbol(void *library, const char *symbol);

#endif
