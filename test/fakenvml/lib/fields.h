/* What is read through field values and through calls of their own. The lock must be held. */
#ifndef FORETIDE_FIELDS_H
#define FORETIDE_FIELDS_H

#include "scenario.h"

/* The field of a device, NULL where it is not supported. */
const struct field *field_of(const struct device *d, unsigned int id);

/* The energy drawn since the driver was loaded: field 83, and on top of it the meter where there is one. */
int energy_of(const struct device *d, unsigned long long *millijoules);

#endif
