/* SPDX-License-Identifier: Apache-2.0
 *
 * What dlmopen loaded.
 */
#ifndef MAL_OS_NAMESPACES_H
#define MAL_OS_NAMESPACES_H

#include <link.h>

/* Visits the objects of all namespaces but the first, with address, name and program headers filled
 * in; dl_iterate_phdr reports the caller's namespace alone. Inside a callback of dl_iterate_phdr,
 * which holds the lock on the lists. No allocation, no lock. */
void mal_namespaces_each_object(void (*visit)(const struct dl_phdr_info *object, void *context),
                                void *context);

#endif
