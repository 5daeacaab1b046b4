from tests.error_reports.site import urlpatterns_of_the_site

urlpatterns = urlpatterns_of_the_site()
