/* SPDX-License-Identifier: Apache-2.0
 *
 * Which mapping an address lies in.
 */
#ifndef MAL_OS_MAPS_H
#define MAL_OS_MAPS_H

#include <stdbool.h>
#include <stdint.h>

/* The readable mapping that holds the address. False when there is none, or nobody says. No
 * allocation, no lock; errno is kept. Microseconds on Linux 6.11 and later, else as long as
 * /proc/self/maps takes to read. */
bool mal_mapping_of(uintptr_t address, uintptr_t *ret_low, uintptr_t *ret_high);

/* Visits the parts of [low, high), mapped and readable, that have ever been written to. */
void mal_mapping_each_populated(uintptr_t low, uintptr_t high,
                                void (*visit)(uintptr_t low, uintptr_t high, void *context),
                                void *context);

#endif
