#include "shim.h"

int _rte_errno(void)
{
	return rte_errno;
}

unsigned int _rte_lcore_id(void)
{
	return rte_lcore_id();
}

struct rte_mempool *_rte_pktmbuf_pool_packed(const char *name, unsigned int count,
	unsigned int cache, uint16_t private_size, uint16_t room, int socket)
{
	struct rte_pktmbuf_pool_private layout = {
		.mbuf_data_room_size = room,
		.mbuf_priv_size = private_size,
	};
	unsigned int size = sizeof(struct rte_mbuf) + private_size + room;
	struct rte_mempool *pool = rte_mempool_create_empty(name, count, size, cache,
		sizeof(layout), socket, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
	int failed;

	if (!pool)
		return NULL;
	failed = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
	if (!failed) {
		rte_pktmbuf_pool_init(pool, &layout);
		failed = rte_mempool_populate_default(pool);
	}
	if (failed < 0) {
		rte_mempool_free(pool);
		rte_errno = -failed;
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

struct rte_mbuf *_rte_pktmbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

int _rte_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count)
{
	return rte_pktmbuf_alloc_bulk(pool, mbufs, count);
}

void _rte_pktmbuf_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}

void _rte_mempool_put_bulk(struct rte_mempool *pool, void *const *objects, unsigned int count)
{
	rte_mempool_put_bulk(pool, objects, count);
}

uint16_t _rte_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, mbufs, count);
}

uint16_t _rte_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, mbufs, count);
}

int _rte_mbuf_timestamp(int *offset, uint64_t *flag)
{
	int bit = rte_mbuf_dynflag_lookup(RTE_MBUF_DYNFLAG_RX_TIMESTAMP_NAME, NULL);

	*offset = rte_mbuf_dynfield_lookup(RTE_MBUF_DYNFIELD_TIMESTAMP_NAME, NULL);
	*flag = bit < 0 ? 0 : UINT64_C(1) << bit;
	return *offset < 0 || bit < 0 ? -1 : 0;
}

int _rte_eth_link(uint16_t port, uint32_t *mbps, int *up)
{
	struct rte_eth_link link = { 0 };
	int failed = rte_eth_link_get_nowait(port, &link);

	*up = !failed && link.link_status == RTE_ETH_LINK_UP;
	*mbps = *up && link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN ? link.link_speed : 0;
	return failed;
}
