/* SPDX-License-Identifier: Apache-2.0
 *
 * The samples of a profile on the wire.
 */
#ifndef MAL_VIEW_PROTO_SAMPLES_H
#define MAL_VIEW_PROTO_SAMPLES_H

#include "view/profile.h"

/* Appends them as the field `sample` of a Profile message. Failures are noted in the buffer. */
void view_append_samples(const struct view_profile *profile, struct view_buffer *out);

#endif
