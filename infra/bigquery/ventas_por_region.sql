SELECT region_de_venta, COUNT(*) AS ventas, SUM(cantidad_de_venta) AS total, ROUND(SUM(cantidad_de_venta) / COUNT(*), 6) AS media FROM `${project}.${dataset}.${table}` GROUP BY region_de_venta
