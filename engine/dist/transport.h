/* transport.h - what communicator.c asks of a library of messages; mpi.c answers. */
#ifndef CN_TRANSPORT_H
#define CN_TRANSPORT_H

#include "dist/communicator.h"

CnErr cn_mpi_join(CnWorld *world); /* leaves when the process ends */
CnErr cn_mpi_barrier(void);
CnErr cn_mpi_broadcast(void *data, size_t bytes, int root);
CnErr cn_mpi_send(const void *data, size_t bytes, int to);
CnErr cn_mpi_receive(void *data, size_t bytes, int from);

#endif
