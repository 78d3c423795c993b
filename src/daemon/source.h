/* SPDX-License-Identifier: Apache-2.0
 *
 * What the servers see: the living and the dead, as one source.
 */
#ifndef MAL_DAEMON_SOURCE_H
#define MAL_DAEMON_SOURCE_H

#include "daemon/table.h"
#include "http/source.h"

/* The table must outlive the servers. */
struct http_source daemon_source(struct table *table);

#endif
